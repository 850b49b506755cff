// The vector memory: VMEM_BLOCKS blocks of 64 floats as words of 16. One word is read and one written a cycle; of
// clients that ask at once the lowest is served. A word comes two cycles after it was asked for, to the client that
// asked; a read sees the writes of earlier cycles.
`default_nettype none
module acc_vmem #(
  parameter int unsigned Clients = 2,
  localparam int unsigned AddrW = $clog2(acc_pkg::VmemBlocks * 4)
) (
  input  logic                     clk_i,
  input  logic                     rst_ni,
  input  logic [Clients-1:0]       r_valid_i,
  output logic [Clients-1:0]       r_ready_o,
  input  logic [Clients*AddrW-1:0] r_addr_i,   // block, then two bits of the word in it
  output logic [Clients-1:0]       q_valid_o,
  output logic [511:0]             q_data_o,   // for whose q_valid_o is set
  input  logic [Clients-1:0]       w_valid_i,
  output logic [Clients-1:0]       w_ready_o,
  input  logic [Clients*AddrW-1:0] w_addr_i,
  input  logic [Clients*512-1:0]   w_data_i,
  input  logic [Clients*16-1:0]    w_mask_i    // a bit for each float
);
  logic [AddrW-1:0]   r_addr, w_addr;
  logic [511:0]       w_data;
  logic [15:0]        w_mask;  // 0 while nobody writes
  logic [Clients-1:0] first_q, second_q;

  for (genvar c = 0; c < Clients; c++) begin : gen_client
    if (c == 0) begin : gen_first
      assign {r_ready_o[c], w_ready_o[c]} = 2'b11;
    end else begin : gen_further
      assign r_ready_o[c] = r_valid_i[c-1:0] == '0;
      assign w_ready_o[c] = w_valid_i[c-1:0] == '0;
    end
  end

  always_comb begin
    r_addr = '0;
    w_addr = '0;
    w_data = '0;
    w_mask = '0;
    for (int c = 0; c < Clients; c++) begin
      if (r_valid_i[c] && r_ready_o[c]) r_addr = r_addr_i[c*AddrW +: AddrW];
      if (w_valid_i[c] && w_ready_o[c]) begin
        w_addr = w_addr_i[c*AddrW +: AddrW];
        w_data = w_data_i[c*512 +: 512];
        w_mask = w_mask_i[c*16 +: 16];
      end
    end
  end

  for (genvar l = 0; l < 16; l++) begin : gen_lane
    logic [31:0] mem [0:acc_pkg::VmemBlocks*4-1];
    logic [31:0] word_q, out_q;
    always_ff @(posedge clk_i) begin
      if (w_mask[l]) mem[w_addr] <= w_data[l*32 +: 32];
      word_q <= mem[r_addr];
      out_q  <= word_q;
    end
    assign q_data_o[l*32 +: 32] = out_q;
  end

  assign q_valid_o = second_q;
  always_ff @(posedge clk_i) begin
    if (!rst_ni) begin
      first_q  <= '0;
      second_q <= '0;
    end else begin
      first_q  <= r_valid_i & r_ready_o;
      second_q <= first_q;
    end
  end
endmodule
`default_nettype wire
