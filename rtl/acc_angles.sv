// Cosines and sines of a rotation by a distance (docs/numerics.md, "RoPE"), kept until the next start: a pair of them per
// cycle, 14 cycles behind the first.
`default_nettype none
module acc_angles (
  input  logic         clk_i,
  input  logic         rst_ni,
  input  logic         start_i,
  input  logic [63:0]  distance_i,   // constant until the end, as is pairs_i
  input  logic [7:0]   pairs_i,      // 1..128
  output logic         busy_o,
  output logic [6:0]   step_index_o,
  input  logic [63:0]  step_i,       // of that pair, in the same cycle
  input  logic [2:0]   word_i,
  output logic [511:0] cos_o,        // of pairs 16 * word + l
  output logic [511:0] sin_o
);
  localparam int unsigned Cycles = acc_unit_pkg::SineCycles + 2;
  logic              asking_q, busy_q;
  logic [6:0]        ask_q, put_q;
  logic [Cycles-1:0] valid_q;
  assign busy_o       = busy_q;
  assign step_index_o = ask_q;

  // 1, 2: distance * step modulo 2^64.
  logic [63:0] low_q, phase_q;
  logic [31:0] cross_q, cross2_q, sine, cosine;
  always_ff @(posedge clk_i) begin
    low_q    <= 64'(distance_i[31:0]) * 64'(step_i[31:0]);
    cross_q  <= distance_i[63:32] * step_i[31:0];
    cross2_q <= distance_i[31:0] * step_i[63:32];
    phase_q  <= low_q + {cross_q + cross2_q, 32'd0};
  end
  acc_sine u_sine (.clk_i, .phase_i(phase_q), .y_o(sine));
  acc_sine u_cosine (.clk_i, .phase_i(phase_q + 64'h4000000000000000), .y_o(cosine));

  for (genvar l = 0; l < 16; l++) begin : gen_lane
    logic [31:0] cosines [0:7], sines [0:7];
    always_ff @(posedge clk_i)
      if (valid_q[Cycles-1] && put_q[3:0] == 4'(l)) begin
        cosines[put_q[6:4]] <= cosine;
        sines[put_q[6:4]]   <= sine;
      end
    assign cos_o[l*32 +: 32] = cosines[word_i];
    assign sin_o[l*32 +: 32] = sines[word_i];
  end

  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      asking_q <= 1'b0;
      busy_q   <= 1'b0;
      ask_q    <= '0;
      put_q    <= '0;
      valid_q  <= '0;
    end else begin
      valid_q <= {valid_q[Cycles-2:0], asking_q};
      if (start_i) begin
        asking_q <= 1'b1;
        busy_q   <= 1'b1;
        ask_q    <= '0;
        put_q    <= '0;
      end else begin
        ask_q <= ask_q + 7'(asking_q);
        put_q <= put_q + 7'(valid_q[Cycles-1]);
        if (8'(ask_q) + 8'd1 == pairs_i) asking_q <= 1'b0;
        if (valid_q[Cycles-1] && 8'(put_q) + 8'd1 == pairs_i) busy_q <= 1'b0;
      end
    end
  end
endmodule
`default_nettype wire
