// The lane lemma: for every code, pair of levels and activations in -127..127, what acc_picks and acc_lane make of a
// quad column equals the quad that design.md's table gives, times the activations, by multiplication.
`default_nettype none
module lane_lemma (
  input  logic        clk_i,
  input  logic [6:0]  code_i,
  input  logic [31:0] act_i,
  input  acc_pkg::levels_e levels_i,
  output logic        ok_o
);
  logic [43:0]        low, high;
  logic signed [16:0] acc;
  acc_picks u_picks (.levels_i(levels_i), .dense_i(1'b0), .act_i, .low_o(low), .high_o(high));
  acc_lane u_lane (.clk_i, .valid_i(1'b1), .first_i(1'b1), .dense_i(1'b0), .word_i({1'b0, code_i}), .low_i(low),
                   .high_i(high), .acc_o(acc));

  logic signed [3:0] l1, l2, w0, w1, w2, w3, v0, v1, single;
  logic [6:0]        c;
  assign l1 = (levels_i == 2'd2) ? 4'sd2 : 4'sd1;
  assign l2 = (levels_i == 2'd2) ? 4'sd5 : (levels_i == 2'd1) ? 4'sd3 : 4'sd2;
  assign c  = code_i - 7'd97;

  always_comb begin
    case (code_i[3:2])
      2'd0: v0 = -l2;
      2'd1: v0 = -l1;
      2'd2: v0 = l1;
      default: v0 = l2;
    endcase
    case (code_i[1:0])
      2'd0: v1 = -l2;
      2'd1: v1 = -l1;
      2'd2: v1 = l1;
      default: v1 = l2;
    endcase
    case (c % 7'd6)
      7'd0: single = -(l1 + l2);
      7'd1: single = -(l1 + l1);
      7'd2: single = -(l2 - l1);
      7'd3: single = l2 - l1;
      7'd4: single = l1 + l1;
      default: single = l1 + l2;
    endcase
    w0 = 4'sd0;
    w1 = 4'sd0;
    w2 = 4'sd0;
    w3 = 4'sd0;
    if (code_i < 7'd96) begin
      case (code_i[6:4])
        3'd0: begin w0 = v0; w1 = v1; end
        3'd1: begin w0 = v0; w2 = v1; end
        3'd2: begin w0 = v0; w3 = v1; end
        3'd3: begin w1 = v0; w2 = v1; end
        3'd4: begin w1 = v0; w3 = v1; end
        default: begin w2 = v0; w3 = v1; end
      endcase
    end else if (code_i > 7'd96 && code_i < 7'd121) begin
      case (c / 7'd6)
        7'd0: w0 = single;
        7'd1: w1 = single;
        7'd2: w2 = single;
        default: w3 = single;
      endcase
    end
  end

  logic signed [13:0] want, want1_q, want2_q, want3_q;
  logic               legal, legal1_q, legal2_q, legal3_q;
  // A weight's magnitude times the activation, then its sign.
  function automatic logic signed [13:0] times(input logic signed [3:0] w, input logic [7:0] act);
    logic signed [11:0] product;
    product = 12'({1'b0, w < 0 ? 3'(-w) : w[2:0]}) * 12'(signed'(act));
    times   = 14'(w < 0 ? -product : product);
  endfunction
  assign want = times(w0, act_i[7:0]) + times(w1, act_i[15:8]) + (times(w2, act_i[23:16]) + times(w3, act_i[31:24]));
  assign legal = levels_i != 2'd3 && act_i[7:0] != 8'h80 && act_i[15:8] != 8'h80 && act_i[23:16] != 8'h80 &&
                 act_i[31:24] != 8'h80;
  always_ff @(posedge clk_i) begin
    {want3_q, want2_q, want1_q}    <= {want2_q, want1_q, want};
    {legal3_q, legal2_q, legal1_q} <= {legal2_q, legal1_q, legal};
  end
  assign ok_o = !legal3_q || acc == 17'(want3_q);
endmodule
`default_nettype wire
